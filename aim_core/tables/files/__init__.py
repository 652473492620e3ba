"""How tables lie in files: text, Parquet, Arrow, Excel; read in chunks of texts.

Nothing here knows a schema.
"""
