"""Made invoices and receipts: ten layouts, four languages, six locales, eight fields, of which two are derived."""
