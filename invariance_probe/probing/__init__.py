"""Images x transforms x layers x methods: what a probe measures, and how."""
