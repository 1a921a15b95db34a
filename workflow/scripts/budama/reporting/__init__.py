"""The report: results.json in; Markdown, HTML, PDF and figures out. Free of torch.

`results` reads, `sections` says what is true of the numbers, `document` is the neutral form of the report, `render`
writes it in each form. Every sentence lives in a catalogue, `workflow/report/templates/{tr,en}.yaml`; none in code.
"""
