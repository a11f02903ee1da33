"""Runs the code of docs/recipes/django.md, which is the package `tasks` in the current directory: claims, and claims in vain.

    python django_page.py CONNECTION
"""

import os
import sys

import django
from django.conf import settings
from django.db import DataError, connection
from psycopg.conninfo import conninfo_to_dict

sys.path.insert(0, os.getcwd())
given = conninfo_to_dict(sys.argv[1])
names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
database = {ours: given[theirs] for theirs, ours in names.items() if theirs in given}
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
    INSTALLED_APPS=["tasks"],
)
django.setup()

from tasks.claim_task import claim_task  # noqa: E402 (after setup)
from tasks.models import Task  # noqa: E402

assert len(claim_task("tenant-abc", "task-1", "e-1")) == 36
try:
    claim_task("tenant-abc", "no such task", "e-1")
    raise AssertionError("claimed what is not there")
except Task.DoesNotExist:
    pass
try:
    claim_task("a:b", "task-2", "e-1")
    raise AssertionError("claimed for no tenant")
except DataError as error:
    assert "cannot be part of an Ably channel name" in str(error), error
assert Task.objects.get(pk="task-2").employee_id is None, "half a transaction was committed"
with connection.cursor() as cursor:
    cursor.execute("select count(*) from outbox.event")
    assert cursor.fetchone()[0] == 1
