-- The lines that a scrape job has still to fetch: planning one read the lines of all. By itself: it holds up whoever adds lines
-- for as long as it takes to read them, about a second for a million.
create index sources_to_fetch on sources (job_id) where outcome = 'pending';
