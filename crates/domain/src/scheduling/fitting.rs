//! Where requests fit while places are given out. Every worker is looked at once for every request, and again only when
//! something was put on it; every sort of GPU is looked at once for every request.

use std::collections::HashMap;

use super::placement::{Cost, GpuOffer, GpuUse, Offer, Request, choose, cost, missing, takes};
use super::room::Room;

/// See the module. Offers go by their place in the order of their ids.
#[derive(Debug)]
pub(super) struct Fitting<'a> {
    sites: Vec<Site<'a>>,
    /// One GPU of every sort.
    sorts: Vec<&'a GpuOffer>,
    /// Offers, as something was put on them.
    changed: Vec<usize>,
    tables: Vec<Table<'a>>,
    table_of: HashMap<&'a Request, usize>,
}

#[derive(Debug)]
struct Site<'a> {
    offer: &'a Offer,
    /// What is left of it.
    room: Room,
    /// What there would be with nothing on it.
    emptied: Room,
    /// The sort of each of its GPUs.
    sorts: Vec<usize>,
}

/// What a request costs where.
#[derive(Debug)]
struct Table<'a> {
    request: &'a Request,
    /// Which sorts of GPU will do.
    suits: Vec<bool>,
    entries: Vec<Entry>,
    /// How many of the changes it knows of.
    seen: usize,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    /// The worker does not take such tasks.
    Never,
    /// It has no room.
    NotNow,
    Now(Cost),
}

impl<'a> Fitting<'a> {
    pub(super) fn new(offers: &'a [Offer]) -> Self {
        let mut sorts = Sorts::default();
        let mut sites: Vec<Site> = offers.iter().map(|offer| Site::new(offer, &mut sorts)).collect();
        sites.sort_by_key(|site| site.offer.id);
        Self { sites, sorts: sorts.sorts, changed: Vec::new(), tables: Vec::new(), table_of: HashMap::new() }
    }

    /// How many offers there are.
    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn offer(&self, at: usize) -> &'a Offer {
        self.sites[at].offer
    }

    /// The table of a request; equal requests share one.
    pub(super) fn table(&mut self, request: &'a Request) -> usize {
        *self.table_of.entry(request).or_insert_with(|| {
            let suits = self.sorts.iter().map(|gpu| gpu.suits(&request.resources)).collect();
            self.tables.push(Table { request, suits, entries: Vec::new(), seen: 0 });
            self.tables.len() - 1
        })
    }

    /// The `count` best offers for a request among those `allowed`; `None` when there are not as many.
    pub(super) fn best(
        &mut self,
        table: usize,
        count: usize,
        allowed: impl Fn(usize, &Offer, &Room) -> bool,
    ) -> Option<Vec<usize>> {
        self.catch_up(table);
        let entries = self.tables[table].entries.iter().zip(&self.sites).enumerate();
        let fitting = entries.filter_map(|(at, (entry, site))| match entry {
            Entry::Now(cost) if allowed(at, site.offer, &site.room) => Some((*cost, at)),
            _ => None,
        });
        if count == 1 {
            return fitting.min().map(|(_, at)| vec![at]);
        }
        let mut fitting: Vec<(Cost, usize)> = fitting.collect();
        if fitting.len() < count {
            return None;
        }
        fitting.select_nth_unstable(count - 1);
        fitting.truncate(count);
        fitting.sort_unstable();
        Some(fitting.into_iter().map(|(_, at)| at).collect())
    }

    /// How much a request lacks on an offer; `None` when it would not fit there if nothing were on it.
    pub(super) fn missing(&self, table: usize, at: usize) -> Option<u32> {
        let (table, site) = (&self.tables[table], &self.sites[at]);
        let suits = |gpu: usize| table.suits[site.sorts[gpu]];
        takes(site.offer, table.request).ok()?;
        cost(site.offer, &site.emptied, table.request, &suits)?;
        Some(missing(site.offer, &site.room, table.request, &suits))
    }

    /// Puts a task on one of the offers that [`Self::best`] found, and returns the GPUs it gets.
    pub(super) fn put(&mut self, table: usize, at: usize) -> Vec<u32> {
        let (table, site) = (&self.tables[table], &mut self.sites[at]);
        let suits = |gpu: usize| table.suits[site.sorts[gpu]];
        let gpus = choose(site.offer, &site.room, table.request, &suits);
        site.room.lend(site.offer, table.request, &gpus);
        self.changed.push(at);
        gpus
    }

    /// What was lent of every GPU.
    pub(super) fn gpus(&self) -> impl Iterator<Item = GpuUse> {
        self.sites.iter().flat_map(|site| site.room.gpus.iter().map(|gpu| gpu.used))
    }

    /// Tasks there is room for.
    pub(super) fn slots(&self) -> f64 {
        self.sites.iter().map(|site| f64::from(site.room.slots)).sum()
    }

    fn catch_up(&mut self, table: usize) {
        let table = &mut self.tables[table];
        if table.entries.is_empty() {
            table.entries = self.sites.iter().map(|site| table.first(site)).collect();
        } else {
            for at in &self.changed[table.seen..] {
                if !matches!(table.entries[*at], Entry::Never) {
                    table.entries[*at] = table.entry(&self.sites[*at]);
                }
            }
        }
        table.seen = self.changed.len();
    }
}

impl Table<'_> {
    fn first(&self, site: &Site) -> Entry {
        if takes(site.offer, self.request).is_ok() { self.entry(site) } else { Entry::Never }
    }

    fn entry(&self, site: &Site) -> Entry {
        let suits = |gpu: usize| self.suits[site.sorts[gpu]];
        cost(site.offer, &site.room, self.request, &suits).map_or(Entry::NotNow, Entry::Now)
    }
}

impl<'a> Site<'a> {
    fn new(offer: &'a Offer, sorts: &mut Sorts<'a>) -> Self {
        Self {
            offer,
            room: Room::of(offer),
            emptied: Room::emptied(offer),
            sorts: offer.gpus.iter().map(|gpu| sorts.of(gpu)).collect(),
        }
    }
}

/// GPUs of the same model with the same driver.
#[derive(Default)]
struct Sorts<'a> {
    sorts: Vec<&'a GpuOffer>,
    by_name: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Sorts<'a> {
    fn of(&mut self, gpu: &'a GpuOffer) -> usize {
        *self.by_name.entry((&gpu.model, &gpu.driver)).or_insert_with(|| {
            self.sorts.push(gpu);
            self.sorts.len() - 1
        })
    }
}
