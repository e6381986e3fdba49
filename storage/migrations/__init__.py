"""Migrations: the schema's history, written by hand, forward and back."""
