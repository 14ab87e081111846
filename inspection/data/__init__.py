"""Files in, manifest out: decoder, folder layouts, label tables, splits."""
