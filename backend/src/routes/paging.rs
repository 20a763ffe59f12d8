//! Pages of a list: keyset paging by id, which is the order of creation.

use serde::{Deserialize, Serialize};

/// Items of a page when the client does not say.
const LIMIT_DEFAULT: i64 = 50;
/// Items of a page at most.
const LIMIT_MAX: i64 = 200;

/// What a client asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery<Id> {
    limit: Option<i64>,
    /// Only items older than this one.
    pub before: Option<Id>,
}

impl<Id> PageQuery<Id> {
    /// Items of the page.
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
    }
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T, Id> {
    items: Vec<T>,
    /// What to send as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
        for (asked, given) in [
            (None, LIMIT_DEFAULT),
            (Some(0), 1),
            (Some(-5), 1),
            (Some(9_999), LIMIT_MAX),
        ] {
            assert_eq!(
                PageQuery::<i32> {
                    limit: asked,
                    before: None
                }
                .limit(),
                given
            );
        }
    }
}
