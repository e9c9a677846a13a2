"""What sqlfluff needs to know of dbt to render the models without a database."""


def env_var(_name: str, default: str = "") -> str:
    """Dbt's env_var: the default."""
    return default


class adapter:  # noqa: N801  (dbt's own name)
    """dbt's adapter: a dispatched macro renders as a call of a function of its name."""

    @staticmethod
    def dispatch(name: str, _package: str) -> object:
        """The macro `name`."""
        if name == "past_year_frame":  # a frame is not an expression
            return lambda ends: f"range between interval 1 year preceding and {ends}"
        return lambda *arguments: f"{name}({', '.join(map(str, arguments))})"


class dbt:  # noqa: N801  (dbt's own name)
    """dbt's cross-database macros."""

    @staticmethod
    def type_string() -> str:
        """Name of the text type."""
        return "varchar"

    @staticmethod
    def date_trunc(part: str, date: str) -> str:
        """First day of the period."""
        return f"date_trunc('{part}', {date})"

    @staticmethod
    def dateadd(part: str, interval: int, date: str) -> str:
        """The date shifted."""
        return f"dateadd('{part}', {interval}, {date})"
