-- Since when a ready task really waits, where it was moved to the end of another lane meanwhile: for the deadline of its queue.
alter table tasks add column waits_since timestamptz;
