schema_name = "by_workspace"
