//! Pages of a list: keyset paging by id, which is the order of creation.
#![expect(
    unused_qualifications,
    reason = "the schema's derive qualifies the type parameters"
)]

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// Items of a page when the client does not say.
const LIMIT_DEFAULT: i64 = 50;
/// Items of a page at most.
const LIMIT_MAX: i64 = 200;

/// What a client asks for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery<Id: PartialSchema> {
    /// Items of the page; 50 when it is absent.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, nullable = false)]
    limit: Option<Limit>,
    /// Only items older than this one.
    #[param(value_type = Option<Uuid>, nullable = false)]
    pub before: Option<Id>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Limit(i64);

impl TryFrom<i64> for Limit {
    type Error = String;

    fn try_from(limit: i64) -> Result<Self, String> {
        if (1..=LIMIT_MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(format!("{limit} is not a number from 1 to {LIMIT_MAX}"))
        }
    }
}

impl<Id: PartialSchema> PageQuery<Id> {
    /// Items of the page.
    pub fn limit(&self) -> i64 {
        self.limit.map_or(LIMIT_DEFAULT, |limit| limit.0)
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T, Id> {
    items: Vec<T>,
    /// What to send as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    next_before: Option<Id>,
}

impl<T, Id> Page<T, Id> {
    /// A page of the items found; a full one may have a successor.
    pub fn new(items: Vec<T>, limit: i64, id_of: impl Fn(&T) -> Id) -> Self {
        let full = i64::try_from(items.len()).is_ok_and(|count| count == limit);
        let next_before = items.last().filter(|_| full).map(id_of);
        Self { items, next_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_page_names_its_successor() {
        assert_eq!(Page::new(vec![3, 2], 2, |id| *id).next_before, Some(2));
        assert_eq!(Page::new(vec![3], 2, |id| *id).next_before, None);
        assert_eq!(Page::new(Vec::<i32>::new(), 2, |id| *id).next_before, None);
    }

    #[test]
    fn limits_are_bounded() {
        let read = |limit| Limit::try_from(limit).map(|limit| limit.0).ok();
        for (limit, expected) in [
            (1, Some(1)),
            (200, Some(200)),
            (0, None),
            (-5, None),
            (201, None),
        ] {
            assert_eq!(read(limit), expected);
        }
        let unsaid = PageQuery::<i32> {
            limit: None,
            before: None,
        };
        assert_eq!(unsaid.limit(), LIMIT_DEFAULT);
    }
}
