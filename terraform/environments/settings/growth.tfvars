environment     = "growth"
generation_mode = "queue"
