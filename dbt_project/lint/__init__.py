"""What sqlfluff needs to know of dbt to render the models without a database."""


def env_var(_name: str, default: str = "") -> str:
    """Dbt's env_var: the default."""
    return default


def own_changed_range() -> list[str]:
    """What most models go by; the macro reads a model's configuration."""
    return ["int_changes", "changed_from"]


class adapter:  # noqa: N801  (dbt's own name)
    """dbt's adapter: a dispatched macro renders as a call of a function of its name."""

    @staticmethod
    def dispatch(name: str, _package: str) -> object:
        """The macro `name`."""
        if name == "median_absolute_deviation":  # the name of a window is not an argument
            return lambda value, window: f"{name}({value})" + (f" over {window}" if window else "")
        return lambda *arguments: f"{name}({', '.join(map(str, arguments))})"


class dbt:  # noqa: N801  (dbt's own name)
    """dbt's cross-database macros."""

    @staticmethod
    def type_string() -> str:
        """Name of the text type."""
        return "varchar"
