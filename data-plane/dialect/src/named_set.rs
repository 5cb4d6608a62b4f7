//! Small closed vocabularies as sets of one word.

/// Declares an enum whose members have the names they carry on the wire, and a `Copy` set of them.
macro_rules! named_set {
    (
        $(#[$about:meta])* enum $Name:ident { $( $(#[$doc:meta])* $Member:ident = $wire:literal, )+ }
        $(#[$set_about:meta])* set $Set:ident
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { $( $(#[$doc])* $Member, )+ }

        impl $Name {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [Self] = &[$( Self::$Member, )+];

            /// The name on the wire, in refusals and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Member => $wire, )+ }
            }

            /// The member of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $wire => Some(Self::$Member), )+ _ => None }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        $(#[$set_about])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $Set(u64);

        impl $Set {
            pub const EMPTY: Self = Self(0);

            pub fn insert(&mut self, member: $Name) {
                self.0 |= 1 << member as u64;
            }

            pub fn contains(self, member: $Name) -> bool {
                self.0 >> (member as u64) & 1 == 1
            }

            pub fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether every member of this set is in `other`.
            pub fn is_subset_of(self, other: Self) -> bool {
                self.0 & !other.0 == 0
            }

            /// The members of this set that `other` lacks.
            pub fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            pub fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            pub fn iter(self) -> impl Iterator<Item = $Name> {
                $Name::ALL.iter().copied().filter(move |member| self.contains(*member))
            }
        }

        impl FromIterator<$Name> for $Set {
            fn from_iter<I: IntoIterator<Item = $Name>>(members: I) -> Self {
                let mut set = Self::EMPTY;
                for member in members {
                    set.insert(member);
                }
                set
            }
        }

        impl std::fmt::Debug for $Set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }
    };
}

pub(crate) use named_set;
