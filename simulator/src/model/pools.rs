//! The connections that a task opens at its start, to the database and to Redis: each takes only so many.
//!
//! ```text
//! starting -- every store has room --> serving -- stops --> its connections are free again
//!         \\-- one has not --> it exits, and its successor starts
//! ```

use crate::scenario::Fleet;

#[derive(Debug)]
struct Store {
    connections_max: u32,
    per_task: u32,
    open: u32,
}

#[derive(Debug)]
pub(super) struct Pools {
    stores: Vec<Store>,
    refused: u64,
}

impl Pools {
    pub(super) fn new(fleet: &Fleet) -> Pools {
        let store = |connections_max, per_task| Store {
            connections_max,
            per_task,
            open: 0,
        };
        let database = fleet
            .db_pool_connections
            .map(|pool| store(fleet.db_connections(), pool));
        let redis = fleet
            .redis
            .map(|stated| store(stated.connections_max, stated.connections_per_task));
        Pools {
            stores: database.into_iter().chain(redis).collect(),
            refused: 0,
        }
    }

    /// A task that is to serve opens its connections; false when a store has too few left, and it opens none.
    pub(super) fn open(&mut self) -> bool {
        let has_room = |store: &Store| store.open + store.per_task <= store.connections_max;
        if !self.stores.iter().all(has_room) {
            self.refused += 1;
            return false;
        }
        for store in &mut self.stores {
            store.open += store.per_task;
        }
        true
    }

    /// A task that served is gone.
    pub(super) fn close(&mut self) {
        for store in &mut self.stores {
            store.open -= store.per_task;
        }
    }

    /// Starts that found too little room; none where no store is looked at.
    pub(super) fn refused(&self) -> Option<u64> {
        (!self.stores.is_empty()).then_some(self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Redis, Tasks};

    #[test]
    fn the_store_with_the_least_room_decides_and_a_refused_task_takes_none() {
        let mut fleet = Fleet::new(1.0, 2.0, 1, Tasks::fixed(1));
        fleet.db_pool_connections = Some(30);
        fleet.redis = Some(Redis {
            connections_max: 5,
            connections_per_task: 2,
            ..Redis::new()
        });
        // 76 connections of a db.t4g.micro are two pools, and five of Redis two pairs.
        let mut pools = Pools::new(&fleet);
        assert_eq!([(); 4].map(|()| pools.open()), [true, true, false, false]);
        pools.close();
        assert!(pools.open());
        assert_eq!(pools.refused(), Some(2));
        fleet.redis = None;
        fleet.db_pool_connections = None;
        assert_eq!(Pools::new(&fleet).refused(), None);
    }
}
