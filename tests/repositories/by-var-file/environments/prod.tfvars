environment = "prod"
instances   = 4
