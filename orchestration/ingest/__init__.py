"""From the source to the lake: plan, ask, validate, append. Nothing here knows dbt or what readers see."""
