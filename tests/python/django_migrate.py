"""Runs the migrations of the package `shop` in the current directory as `manage.py migrate` does, then once more.

    python django_migrate.py CONNECTION
"""

import io
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command
from psycopg.conninfo import conninfo_to_dict

sys.path.insert(0, os.getcwd())
given = conninfo_to_dict(sys.argv[1])
names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
database = {ours: given[theirs] for theirs, ours in names.items() if theirs in given}
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
    INSTALLED_APPS=["shop"],
)
django.setup()

first, second = io.StringIO(), io.StringIO()
call_command("migrate", "shop", stdout=first)
assert "Applying shop.0001_outbox_relay_0001_outbox... OK" in first.getvalue(), first.getvalue()
call_command("migrate", "shop", stdout=second)
assert "No migrations to apply" in second.getvalue(), second.getvalue()
call_command("makemigrations", "shop", check=True, stdout=io.StringIO())
