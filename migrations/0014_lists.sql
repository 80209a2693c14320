-- Every list goes on from any place in its order, which an index holds.
create index workers_by_name on workers (name, id) where not internal;
create index nodes_by_name on nodes (name, id);
-- In place of one that had what was registered at the same time the wrong way round.
create index models_in_order on models (created_at, digest);
drop index models_by_age;
