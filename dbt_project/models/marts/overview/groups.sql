-- What asset classes, metals, tiers and kinds of pairs there are, for people.
select
    kind,
    name,
    label,
    position,
    {{ source_name() }} as source
from {{ source('control', 'groups') }}
