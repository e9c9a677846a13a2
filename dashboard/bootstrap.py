"""Make Superset's own database, or bring the bundle into it. Runs in Superset's environment.

bootstrap.py create              tables, roles, and the user `admin` with the password in SUPERSET_ADMIN_PASSWORD
bootstrap.py password            a new password for that user
bootstrap.py import FOLDER       overwrite database, datasets, charts and dashboard with the files of FOLDER
"""

import os
import sys
from pathlib import Path

USER = "admin"


def create() -> None:
    """Tables, roles, user."""
    import superset
    from flask_migrate import upgrade
    from superset import appbuilder, security_manager

    upgrade(str(Path(superset.__file__).parent / "migrations"))
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    admin = security_manager.find_role("Admin")
    password = os.environ["SUPERSET_ADMIN_PASSWORD"]
    if not security_manager.add_user(USER, "Orewatch", "Admin", "admin@localhost", admin, password):
        raise SystemExit("the user could not be added")


def password() -> None:
    """A new password."""
    from superset import security_manager

    user = security_manager.find_user(username=USER)
    security_manager.reset_password(user.id, os.environ["SUPERSET_ADMIN_PASSWORD"])


def bring_in(folder: Path) -> None:
    """Overwrite what the bundle holds."""
    from flask import g
    from superset import security_manager
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    g.user = security_manager.find_user(username=USER)
    files = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.yaml")}
    ImportAssetsCommand(files).run()


def main(action: str, *rest: str) -> None:
    """Do one of them, within the application."""
    from superset.app import create_app

    with create_app().app_context():
        if action == "create":
            create()
        elif action == "password":
            password()
        else:
            bring_in(Path(*rest))


if __name__ == "__main__":
    main(*sys.argv[1:])
