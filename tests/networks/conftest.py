"""Many networks are exported here."""

from tests.exporter import keep_operators

keep_operators()
