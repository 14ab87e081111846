"""Numbers and tables; nothing here draws."""
