retry_wait_max = 5
