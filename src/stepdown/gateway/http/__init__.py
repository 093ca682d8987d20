"""HTTP/1.1 both ways on asyncio and llhttp: the gateway's hot path, kept as short as it can be."""
