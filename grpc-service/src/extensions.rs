//! Values of any type that belong to a call, one of each type.

use std::any::Any;
use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::report::drop_payload;

/// A list of places, each for one type, that stays when its values go: the next call that sets the same types allocates
/// nothing. A value stays where it is until the call ends, so references to it live as long.
#[derive(Default)]
pub(crate) struct Extensions {
    first: OnceCell<Box<Node>>,
}

struct Node {
    place: Box<dyn Place>,
    next: OnceCell<Box<Node>>,
}

trait Place {
    fn clear(&mut self);
    fn as_any(&self) -> &dyn Any;
}

struct Typed<T>(OnceCell<T>);

impl<T: 'static> Place for Typed<T> {
    fn clear(&mut self) {
        self.0.take();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Extensions {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        let mut link = &self.first;
        loop {
            let node = link.get()?;
            if let Some(place) = node.place.as_any().downcast_ref::<Typed<T>>() {
                return place.0.get();
            }
            link = &node.next;
        }
    }

    /// Sets the value of a type, or gives it back where there is one.
    pub(crate) fn set<T: 'static>(&self, value: T) -> Result<&T, T> {
        let mut link = &self.first;
        loop {
            let node = link.get_or_init(|| {
                let place = Box::new(Typed::<T>(OnceCell::new()));
                Box::new(Node { place, next: OnceCell::new() })
            });
            if let Some(place) = node.place.as_any().downcast_ref::<Typed<T>>() {
                place.0.set(value)?;
                return Ok(place.0.get().expect("it was set just now"));
            }
            link = &node.next;
        }
    }

    /// Drops all values, whose destructors are the program's code and may panic, and keeps the places.
    pub(crate) fn clear(&mut self) {
        let mut link = &mut self.first;
        while let Some(node) = link.get_mut() {
            let place = &mut node.place;
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| place.clear())) {
                drop_payload(payload);
            }
            link = &mut node.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Dropped(Rc<Cell<u32>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    struct Panicking;

    impl Drop for Panicking {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("its destructor"));
        }
    }

    #[test]
    fn there_is_one_value_of_each_type_until_all_are_cleared() {
        let (mut extensions, dropped) = (Extensions::default(), Rc::new(Cell::new(0)));
        for round in 1..3 {
            assert_eq!(extensions.get::<u32>(), None);
            assert_eq!(extensions.set(7u32), Ok(&7));
            assert_eq!(extensions.set(8u32), Err(8));
            assert!(extensions.set(Panicking).is_ok());
            assert!(extensions.set(Dropped(Rc::clone(&dropped))).is_ok());
            assert_eq!((extensions.get::<u32>(), extensions.get::<u64>()), (Some(&7), None));
            extensions.clear();
            assert_eq!(dropped.get(), round);
        }
    }
}
