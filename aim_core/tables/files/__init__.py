"""How tables lie in files: CSV and Parquet, read in chunks of texts.

Nothing here knows a schema.
"""
