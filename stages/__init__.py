"""One thin script per DVC stage: read, call the library, write."""
