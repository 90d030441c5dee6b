"""Classification of tables, with protected attributes or ordered classes."""
