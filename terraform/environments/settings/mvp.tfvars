environment     = "mvp"
generation_mode = "queue"
