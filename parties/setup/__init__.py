"""Before a job: a site's settings, drafting a manifest, and the doctor.

Nothing here runs while a job runs, but for the settings.
"""
