environment = "dev"
instances   = 1
