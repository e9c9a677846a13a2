-- Rolling comparison of each instrument with each of its benchmarks over sessions on which both have a return.
{% set windows = [63, 252] %}
with paired as (
    select
        benchmarks.symbol,
        benchmarks.basis,
        benchmarks.benchmark_symbol,
        ours.session_date,
        ours.total_return as r,
        theirs.total_return as b,
        case when theirs.total_return > 0 then ours.total_return end as r_up,
        case when theirs.total_return > 0 then theirs.total_return end as b_up,
        case when theirs.total_return < 0 then ours.total_return end as r_down,
        case when theirs.total_return < 0 then theirs.total_return end as b_down,
        ours.total_return_index / theirs.total_return_index as ratio
    from {{ ref('int_benchmarks') }} as benchmarks
    inner join {{ ref('int_bars') }} as ours
        on benchmarks.symbol = ours.symbol
    inner join {{ ref('int_bars') }} as theirs
        on
            benchmarks.benchmark_symbol = theirs.symbol
            and ours.session_date = theirs.session_date
    where
        ours.total_return is not null
        and theirs.total_return is not null
),

rolled as (
    select
        symbol,
        basis,
        benchmark_symbol,
        session_date,
        r,
        b,
        ratio / lag(ratio, 252) over in_order as relative_strength_252,
        {%- for n in windows %}
            {{ full_window('covar_samp(r, b)', 'r', n, 'last_' ~ n) }} as covariance_{{ n }},
            {{ full_window('var_samp(b)', 'b', n, 'last_' ~ n) }} as variance_b_{{ n }},
            {{ full_window('var_samp(r)', 'r', n, 'last_' ~ n) }} as variance_r_{{ n }},
            {{ full_window('avg(r)', 'r', n, 'last_' ~ n) }} as mean_r_{{ n }},
            {{ full_window('avg(b)', 'b', n, 'last_' ~ n) }} as mean_b_{{ n }},
        {%- endfor %}
        {{ full_window('stddev_samp(r - b)', 'r', 252, 'last_252') }} as sd_excess_252,
        {{ full_window('sum(ln(1 + r))', 'r', 252, 'last_252') }} as log_growth_r_252,
        {{ full_window('sum(ln(1 + b))', 'b', 252, 'last_252') }} as log_growth_b_252,
        count(*) over last_252 as pairs_252,
        count(b_up) over last_252 as pairs_up_252,
        count(b_down) over last_252 as pairs_down_252,
        covar_samp(r_up, b_up) over last_252 as covariance_up_252,
        var_samp(b_up) over last_252 as variance_up_252,
        covar_samp(r_down, b_down) over last_252 as covariance_down_252,
        var_samp(b_down) over last_252 as variance_down_252,
        max_by(r, abs(b)) over last_252 as largest_r_252,
        max_by(b, abs(b)) over last_252 as largest_b_252
    from paired
    window
        in_order as (
            partition by symbol, basis
            order by session_date
        ),
    {%- for n in windows %}
        last_{{ n }} as (
            partition by symbol, basis
            order by session_date
            rows between {{ n - 1 }} preceding and current row
        ){{ "," if not loop.last }}
    {%- endfor %}
)

select
    symbol,
    basis,
    benchmark_symbol,
    session_date,
    r - b as excess_return_1d,
    relative_strength_252,
    {%- for n in windows %}
        covariance_{{ n }} / nullif(variance_b_{{ n }}, 0) as beta_{{ n }},
        mean_r_{{ n }} - covariance_{{ n }} / nullif(variance_b_{{ n }}, 0) * mean_b_{{ n }} as alpha_{{ n }},
        power(covariance_{{ n }}, 2) / nullif(variance_b_{{ n }} * variance_r_{{ n }}, 0) as r_squared_{{ n }},
        covariance_{{ n }} / nullif(sqrt(variance_b_{{ n }}) * sqrt(variance_r_{{ n }}), 0) as correlation_{{ n }},
    {%- endfor %}
    case when pairs_252 = 252 and pairs_up_252 >= 20 then covariance_up_252 / nullif(variance_up_252, 0) end
        as beta_up_252,
    case when pairs_252 = 252 and pairs_down_252 >= 20 then covariance_down_252 / nullif(variance_down_252, 0) end
        as beta_down_252,
    -- one pair less: its share leaves covariance and variance (Welford, backwards)
    (covariance_252 * 251 - (largest_r_252 - mean_r_252) * (largest_b_252 - mean_b_252) * 252.0 / 251)
    / nullif(variance_b_252 * 251 - power(largest_b_252 - mean_b_252, 2) * 252.0 / 251, 0) as beta_252_without_largest,
    sd_excess_252 * sqrt(252.0) as tracking_error_252,
    -- active premium over tracking error; a window of 252 is a year, so growth needs no annualising
    (exp(log_growth_r_252) - exp(log_growth_b_252)) / nullif(sd_excess_252 * sqrt(252.0), 0) as information_ratio_252
from rolled
