"""From the warehouse to readers: audit, versions, and the copies that follow them."""
