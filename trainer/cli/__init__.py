"""The trainer's commands. What is heavy (torch, Lightning, rasterio) is imported by the command that needs it."""
