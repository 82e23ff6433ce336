"""The map page: TypeScript in `source`, what the package build makes of it in `built`."""
