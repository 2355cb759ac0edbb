//! A model of a disk behind a page cache: what is certain to survive a crash,
//! and what may or may not.
//!
//! - A change of a file's content (write, truncation) is certain once that
//!   file was synced afterwards. Until then every change has a [`Fate`] of its
//!   own, whatever happens to those before and after it.
//! - A change of a name is certain once the directory was synced, or, if it
//!   gave the name to a file (create, rename), once that file was.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::recording::Op;

/// What the crash did to a change that was not yet durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Dropped,
    /// Only this range of the written data reached the disk.
    Torn(Range<usize>),
}

/// Whether syncs mean anything. `Ignored` is a disk which lies; it exists to
/// prove that the checks would notice a store which forgets to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    Honoured,
    Ignored,
}

/// The files after a crash, and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Arc<Vec<u8>>>,
    /// The fate of each undecided change, by its index in the recording.
    pub(crate) fates: Vec<(usize, Fate)>,
}

/// A file apart from its name. The content is shared with the images, so that
/// an image costs a copy only of those files that it damages.
#[derive(Default)]
struct Inode {
    durable: Arc<Vec<u8>>,
    /// Indices of the content changes since the last sync.
    pending: Vec<usize>,
}

/// Changes of names carry it because a name may be given to several files in
/// turn while none of that is durable.
type InodeId = usize;

pub(crate) struct Disk<'r> {
    ops: &'r [Op],
    applied: usize,
    syncs: Syncs,
    inodes: Vec<Inode>,
    /// The names as the running process sees them.
    live: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
    /// Indices of the changes of names which are not durable yet.
    pending: Vec<(usize, InodeId)>,
}

impl<'r> Disk<'r> {
    /// An empty directory, to which nothing has happened yet.
    pub(crate) fn new(ops: &'r [Op], syncs: Syncs) -> Self {
        let (live, durable) = (BTreeMap::new(), BTreeMap::new());
        let (inodes, pending) = (Vec::new(), Vec::new());
        Self {
            ops,
            applied: 0,
            syncs,
            inodes,
            live,
            durable,
            pending,
        }
    }

    /// Applies operations until `count` of them have happened.
    pub(crate) fn advance_to(&mut self, count: usize) -> Result<(), String> {
        while self.applied < count {
            let index = self.applied;
            self.apply(index)
                .map_err(|e| format!("operation {index} ({}): {e}", self.ops[index]))?;
            self.applied += 1;
        }
        Ok(())
    }

    fn apply(&mut self, index: usize) -> Result<(), String> {
        let op = &self.ops[index];
        match op {
            Op::Create { .. } => {
                self.inodes.push(Inode::default());
                self.change_names(index, self.inodes.len() - 1);
            }
            Op::Unlink { file } | Op::Rename { from: file, .. } => {
                let inode = self.find(file)?;
                self.change_names(index, inode);
            }
            Op::Write { file, .. } | Op::Truncate { file, .. } => {
                let inode = self.find(file)?;
                self.inodes[inode].pending.push(index);
            }
            Op::Sync { .. } | Op::SyncDirectory if self.syncs == Syncs::Ignored => {}
            Op::Sync { file } => {
                let inode = self.find(file)?;
                self.sync_file(inode);
            }
            Op::SyncDirectory => self.sync_names(|_, _| true),
            Op::Ack(_) => {}
        }
        Ok(())
    }

    fn find(&self, file: &str) -> Result<InodeId, String> {
        self.live
            .get(file)
            .copied()
            .ok_or_else(|| String::from("no such file"))
    }

    fn change_names(&mut self, index: usize, inode: InodeId) {
        rename(&mut self.live, &self.ops[index], inode);
        self.pending.push((index, inode));
    }

    fn sync_file(&mut self, synced: InodeId) {
        let inode = &mut self.inodes[synced];
        let content = Arc::make_mut(&mut inode.durable);
        for index in inode.pending.drain(..) {
            change(content, &self.ops[index], &Fate::Kept);
        }
        self.sync_names(|op, inode| inode == synced && !matches!(op, Op::Unlink { .. }));
    }

    fn sync_names(&mut self, covered: impl Fn(&Op, InodeId) -> bool) {
        let (ops, durable) = (self.ops, &mut self.durable);
        self.pending.retain(|&(index, inode)| {
            let covered = covered(&ops[index], inode);
            if covered {
                rename(durable, &ops[index], inode);
            }
            !covered
        });
    }

    /// The files as a crash at this moment leaves them, where `fate` decides
    /// about every change that is not durable.
    pub(crate) fn crash(&self, mut fate: impl FnMut(&Op) -> Fate) -> Image {
        let mut fates = Vec::new();
        let mut decide = |index: usize| {
            let fate = fate(&self.ops[index]);
            fates.push((index, fate.clone()));
            fate
        };
        let mut names = self.durable.clone();
        for &(index, inode) in &self.pending {
            if decide(index) != Fate::Dropped {
                rename(&mut names, &self.ops[index], inode);
            }
        }
        let mut files = BTreeMap::new();
        for (name, inode) in names {
            let inode = &self.inodes[inode];
            let mut content = Arc::clone(&inode.durable);
            for &index in &inode.pending {
                let fate = decide(index);
                if fate != Fate::Dropped {
                    change(Arc::make_mut(&mut content), &self.ops[index], &fate);
                }
            }
            files.insert(name, content);
        }
        Image { files, fates }
    }
}

/// Applies a change of names. It tolerates that changes before it were
/// dropped: what it would have removed must still be there under that name.
fn rename(names: &mut BTreeMap<String, InodeId>, op: &Op, inode: InodeId) {
    if let Op::Unlink { file: from } | Op::Rename { from, .. } = op
        && names.get(from) == Some(&inode)
    {
        names.remove(from);
    }
    if let Op::Create { file: to } | Op::Rename { to, .. } = op {
        names.insert(to.clone(), inode);
    }
}

/// Applies what `fate` leaves of a change of content. A gap between the old
/// end of the file and the data reads as zeros.
fn change(content: &mut Vec<u8>, op: &Op, fate: &Fate) {
    match op {
        Op::Write { offset, data, .. } => {
            let kept = match fate {
                Fate::Kept => 0..data.len(),
                Fate::Dropped => return,
                Fate::Torn(range) => range.clone(),
            };
            let target = offset + kept.start..offset + kept.end;
            if content.len() < target.end {
                content.resize(target.end, 0);
            }
            content[target].copy_from_slice(&data[kept]);
        }
        Op::Truncate { length, .. } => content.resize(*length, 0),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(file: &str) -> Op {
        Op::Create { file: file.into() }
    }

    fn write(file: &str, offset: usize, data: &str) -> Op {
        Op::Write {
            file: file.into(),
            offset,
            data: data.into(),
        }
    }

    fn sync(file: &str) -> Op {
        Op::Sync { file: file.into() }
    }

    /// The files after `ops` and a crash, as "name=content" in order.
    fn after(ops: &[Op], fate: impl FnMut(&Op) -> Fate) -> String {
        let mut disk = Disk::new(ops, Syncs::Honoured);
        disk.advance_to(ops.len())
            .expect("the operations are possible");
        let files = disk.crash(fate).files.into_iter();
        let shown = files.map(|(name, content)| format!("{name}={}", content.escape_ascii()));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_sync_covers_its_own_file_only_and_only_what_came_before() {
        let ops = [
            create("a"),
            create("b"),
            write("a", 0, "12"),
            write("b", 0, "12"),
            sync("a"),
            write("a", 2, "34"),
        ];
        assert_eq!(after(&ops, |_| Fate::Dropped), "a=12");
        assert_eq!(after(&ops, |_| Fate::Kept), "a=1234 b=12");
    }

    #[test]
    fn each_undecided_change_has_its_own_fate() {
        let ops = [
            create("a"),
            sync("a"),
            write("a", 0, "12"),
            write("a", 3, "34"),
        ];
        let second = |op: &Op| match op {
            Op::Write { offset: 3, .. } => Fate::Torn(1..2),
            _ => Fate::Dropped,
        };
        assert_eq!(after(&ops, second), r"a=\x00\x00\x00\x004");
    }

    #[test]
    fn names_need_a_sync_of_their_own() {
        let unlink = Op::Unlink { file: "a".into() };
        let rename = Op::Rename {
            from: "a".into(),
            to: "b".into(),
        };
        let mut ops = vec![
            create("a"),
            write("a", 0, "1"),
            sync("a"),
            unlink,
            create("a"),
        ];
        assert_eq!(after(&ops, |_| Fate::Dropped), "a=1");
        ops.push(sync("a"));
        assert_eq!(after(&ops, |_| Fate::Dropped), "a=");
        ops.push(rename);
        assert_eq!(after(&ops, |_| Fate::Dropped), "a=");
        ops.push(Op::SyncDirectory);
        assert_eq!(after(&ops, |_| Fate::Dropped), "b=");
    }
}
