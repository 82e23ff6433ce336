from hypothesis import settings

settings.register_profile("satcle", deadline=None)  # an example may wait for the machine's other work
settings.load_profile("satcle")
