"""Rows as every part of the package sees them. Imports from no other room."""
