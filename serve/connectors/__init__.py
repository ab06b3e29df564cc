"""Back ends of tools: HTTP systems described in YAML, MCP servers, OpenAPI files; and presets for known vendors."""
