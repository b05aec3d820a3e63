"""Files: archives of arrays and objects, tables in and out, atomic writing.

Knows no part of the package by name. Imports from no other room.
"""
