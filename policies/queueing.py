class Queueing: pass
