// SPDX-License-Identifier: Apache-2.0
// A tour with the official Node driver. usage: node node_tour.js URI
'use strict';
const assert = require('node:assert');
const { MongoClient, Long, Timestamp, UUID } = require('mongodb');

async function refused(promise, code) {
  await assert.rejects(promise, (error) => error.code === code || assert.fail(`${error.code} instead of ${code}: ${error.message}`));
}

async function crud(db) {
  const tour = db.collection('tour');
  await tour.insertMany(Array.from({ length: 500 }, (_, i) => ({ _id: i, a: i % 5, l: [i, i + 1] })));
  assert.strictEqual(await tour.countDocuments({ a: { $in: [1, 2] } }), 200);
  assert.deepStrictEqual(await tour.findOneAndUpdate({ _id: 3 }, { $set: { z: 1 } }, { returnDocument: 'after' }),
    { _id: 3, a: 3, l: [3, 4], z: 1 });
  const up = await tour.updateOne({ _id: 900 }, { $set: { x: 1 } }, { upsert: true });
  assert.strictEqual(up.upsertedId, 900);
  await refused(tour.insertOne({ _id: 3 }), 11000);
  const bulk = await tour.bulkWrite([
    { insertOne: { document: { _id: 'b' } } },
    { updateMany: { filter: { a: 4 }, update: { $push: { l: 0 } } } },
    { deleteOne: { filter: { _id: 'b' } } },
  ]);
  assert.deepStrictEqual([bulk.insertedCount, bulk.modifiedCount, bulk.deletedCount], [1, 100, 1]);
  assert.strictEqual((await tour.find({}, { batchSize: 50 }).toArray()).length, 501);
  assert.deepStrictEqual(await tour.find({ a: 0 }).sort({ _id: -1 }).limit(2).project({ _id: 1 }).toArray(), [{ _id: 495 }, { _id: 490 }]);
  assert.deepStrictEqual(await tour.aggregate([{ $match: { a: { $exists: true } } }, { $group: { _id: '$a', n: { $sum: 1 } } },
    { $sort: { _id: 1 } }, { $limit: 1 }]).toArray(), [{ _id: 0, n: 100 }]);
  assert.strictEqual((await tour.deleteMany({ a: 1 })).deletedCount, 100);
}

async function definitions(client, db) {
  assert.strictEqual(await db.collection('tour').createIndex({ a: 1 }), 'a_1');
  assert.deepStrictEqual((await db.collection('tour').indexes()).map((index) => index.name), ['_id_', 'a_1']);
  await db.createCollection('capped', { capped: true, size: 4096, max: 3 });
  await db.collection('capped').insertMany([1, 2, 3, 4, 5].map((_id) => ({ _id })));
  assert.deepStrictEqual((await db.collection('capped').find().toArray()).map((doc) => doc._id), [3, 4, 5]);
  await db.collection('capped').rename('renamed');
  assert.deepStrictEqual((await db.listCollections().toArray()).map((info) => info.name).sort(), ['renamed', 'tour']);
  assert.ok((await client.db().admin().listDatabases()).databases.some((info) => info.name === 'node'));
  await db.collection('renamed').drop();
}

async function backup(client) {
  const admin = client.db('admin');
  await client.withSession(async (session) => {
    const opened = await admin.command({ aggregate: 1, pipeline: [{ $backupCursor: {} }], cursor: {} }, { session });
    assert.ok(opened.cursor.firstBatch[0].metadata.backupId instanceof UUID || opened.cursor.firstBatch[0].metadata.backupId.sub_type === 4);
    await refused(admin.command({ aggregate: 1, pipeline: [{ $backupCursor: {} }], cursor: {} }), 50886);
    const id = Long.fromString(opened.cursor.id.toString());
    const more = await admin.command({ getMore: id, collection: '$cmd.aggregate' }, { session });
    assert.deepStrictEqual(more.cursor.nextBatch, []);
    const killed = await admin.command({ killCursors: '$cmd.aggregate', cursors: [id] });
    assert.strictEqual(killed.cursorsKilled.length, 1);
  });
}

async function tail(client, db) {
  const oplog = client.db('local').collection('oplog.rs');
  const [last] = await oplog.find().sort({ $natural: -1 }).limit(1).toArray();
  const cursor = oplog.find({ ts: { $gt: last.ts } }, { tailable: true, awaitData: true, maxAwaitTimeMS: 500 });
  setTimeout(() => db.collection('tour').insertOne({ _id: 'tailed' }), 100);
  for (let entry = await cursor.next(); entry.o?._id !== 'tailed'; entry = await cursor.next()) {
    assert.ok(entry.ts instanceof Timestamp);
  }
  await cursor.close();
}

async function main() {
  const client = new MongoClient(process.argv[2], { serverSelectionTimeoutMS: 20000 });
  await client.connect();
  const db = client.db('node');
  try {
    await crud(db);
    await definitions(client, db);
    await backup(client);
    await tail(client, db);
    await db.dropDatabase();
  } finally {
    await client.close();
  }
  console.log('good');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
