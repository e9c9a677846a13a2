-- Closed sessions, numbered per calendar by how many of them expect a bar so far.
select
    calendar,
    session_date,
    open_utc,
    close_utc,
    early_close,
    bar_expected,
    is_listed,
    count(case when bar_expected then 1 end) over (
        partition by calendar
        order by session_date
        rows between unbounded preceding and current row
    ) as session_number
from {{ source('control', 'sessions') }}
