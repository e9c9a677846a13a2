-- What each instrument returned in each week, month, quarter and year, and how that ranks among the complete ones.
with bars as (
    select
        symbol,
        session_date,
        total_return_index
    from {{ ref('int_bars') }}
    where total_return_index is not null
),

-- The last bar of each period; a quarter and a year end with a month.
{% for period, rows in [('week', 'bars'), ('month', 'bars'), ('quarter', 'last_of_month'), ('year', 'last_of_month')] %}
    last_of_{{ period }} as (
        select
            symbol,
            cast(date_trunc('{{ period }}', session_date) as date) as period_start,
            max(session_date) as session_date,
            max_by(total_return_index, session_date) as total_return_index
        from {{ rows }}
        group by symbol, cast(date_trunc('{{ period }}', session_date) as date)
    ),
{% endfor %}

periods as (
    {%- for period, length in [('week', '7 day'), ('month', '1 month'), ('quarter', '3 month'), ('year', '12 month')] %}
        select
            *,
            '{{ period }}' as period,
            cast(period_start + interval {{ length }} as date) - 1 as period_end
        from last_of_{{ period }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
),

sessions as (
    select
        calendar,
        session_date,
        min(case when bar_expected then session_date end) over (
            partition by calendar
            order by session_date
            rows between 1 following and unbounded following
        ) as next_session,
        -- from a Monday on
        max({{ days_between("cast('2001-01-01' as date)", 'session_date') }} % 7) over (partition by calendar) > 4
            as trades_on_weekends
    from {{ ref('stg_sessions') }}
),

beside_base as (
    select
        symbol,
        period,
        period_start,
        period_end,
        session_date,
        total_return_index,
        lag(session_date) over in_order as earlier_date,
        lag(total_return_index) over in_order as earlier_index,
        {{ days_between('lag(session_date) over in_order', 'period_start') }} <= 8 as has_base,
        -- a Monday, and how many days of a weekend are behind the last Friday
        greatest({{ days_between("cast('2001-01-01' as date)", 'period_end') }} % 7 - 4, 0) as weekend_days
    from periods
    window in_order as (
        partition by symbol, period
        order by period_start
    )
),

placed as (
    select
        ends.symbol,
        ends.period,
        ends.period_start,
        ends.period_end,
        ends.session_date as last_session,
        -- no base across a hole
        case when ends.has_base then ends.earlier_date end as base_date,
        case when ends.has_base then ends.total_return_index / ends.earlier_index - 1 end as period_return,
        coalesce(sessions.next_session > ends.period_end, false)
        or (
            sessions.next_session is null
            and {{ days_between('ends.session_date', 'ends.period_end') }}
            <= case when sessions.trades_on_weekends then 0 else ends.weekend_days end
        ) as is_over
    from beside_base as ends
    inner join {{ source('control', 'instruments') }} as instruments
        on ends.symbol = instruments.symbol
    left join sessions
        on
            instruments.calendar = sessions.calendar
            and ends.session_date = sessions.session_date
),

judged as (
    select
        *,
        period_return is not null and is_over as is_complete
    from placed
)

select
    symbol,
    period,
    period_start,
    period_end,
    base_date,
    last_session,
    period_return,
    case when is_complete then cast(rank() over complete_first as bigint) end as rank,
    count(case when is_complete then 1 end) over all_of_them as periods,
    is_complete,
    {{ source_name() }} as source
from judged
window
    complete_first as (
        partition by symbol, period
        order by is_complete desc, round(period_return, 12) desc
    ),
    -- the same order, so that rows are sorted once
    all_of_them as (
        partition by symbol, period
        order by is_complete desc, round(period_return, 12) desc
        rows between unbounded preceding and unbounded following
    )
