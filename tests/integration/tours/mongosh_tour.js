// SPDX-License-Identifier: Apache-2.0
// A tour with mongosh. usage: mongosh --quiet URI mongosh_tour.js
/* global db, rs, sh, print, assert, NumberLong, use */
function same(got, wanted) {
  if (EJSON.stringify(got) !== EJSON.stringify(wanted)) {
    throw new Error(`got ${EJSON.stringify(got)} instead of ${EJSON.stringify(wanted)}`);
  }
}

const shell = db.getSiblingDB('shell');
shell.dropDatabase();
shell.tour.insertMany(Array.from({ length: 300 }, (_, i) => ({ _id: i, a: i % 3 })));
same(shell.tour.countDocuments({ a: 1 }), 100);
same(shell.tour.updateMany({ a: 2 }, { $inc: { a: 1 } }).modifiedCount, 100);
same(shell.tour.find({ a: 3 }, { _id: 1 }).sort({ _id: 1 }).limit(2).toArray(), [{ _id: 2 }, { _id: 5 }]);
same(shell.tour.find().toArray().length, 300);
same(shell.tour.distinct('a'), [0, 1, 3]);
same(shell.tour.createIndex({ a: 1 }), 'a_1');
same(shell.tour.getIndexes().length, 2);
same(shell.tour.validate().valid, true);
same(shell.getCollectionNames(), ['tour']);
same(shell.tour.aggregate([{ $group: { _id: '$a', n: { $sum: 1 } } }, { $sort: { _id: 1 } }]).toArray()[0], { _id: 0, n: 100 });
same(rs.status().members[0].stateStr, 'PRIMARY');
same(rs.conf().members.length >= 1, true);
same(db.hello().isWritablePrimary, true);
same(db.serverStatus().storageEngine.backupCursorOpen, false);
same(db.version(), '4.4.6-8');
same(db.getMongo().getDBNames().includes('shell'), true);
same(db.adminCommand({ currentOp: 1 }).inprog.length >= 1, true);
const opened = db.getSiblingDB('admin').runCommand({ aggregate: 1, pipeline: [{ $backupCursor: {} }], cursor: {} });
same(opened.ok, 1);
same(db.serverStatus().storageEngine.backupCursorOpen, true);
same(db.getSiblingDB('admin').runCommand({ killCursors: '$cmd.aggregate', cursors: [opened.cursor.id] }).cursorsKilled.length, 1);
same(db.fsyncLock().ok, 1);
same(db.fsyncUnlock().ok, 1);
shell.tour.drop();
shell.dropDatabase();
print('good');
