-- Takes deliveries that are due: $1 at most, and per webhook $2 at most with those that are under way, of which there are
-- side by side $3 webhooks, $4 how many. Nobody else takes them for $5 seconds.
with due as (
    select d.id
    from webhooks w
    left join unnest($3::uuid[], $4::bigint[]) as busy (webhook_id, count) on busy.webhook_id = w.id
    cross join lateral (
        select id, next_at from deliveries
        where webhook_id = w.id and state = 'pending' and next_at <= now()
        order by next_at
        limit greatest($2::bigint - coalesce(busy.count, 0), 0)
        for update skip locked
    ) d
    order by d.next_at
    limit $1
)
update deliveries d
set attempts = d.attempts + 1, next_at = now() + make_interval(secs => $5)
from due, webhooks w
where d.id = due.id and w.id = d.webhook_id
returning d.id, d.webhook_id, d.attempts, d.next_at as held_until, d.body, w.url, w.secret, now() as "at!"
