"""The satcle trainer: imagery in, bundles out. From service it imports `service.bundle` only."""
