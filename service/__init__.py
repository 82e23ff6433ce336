"""The satcle service: places in, embeddings out. It never imports torch and never imports trainer."""
