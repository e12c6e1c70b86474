// Asks a server for its health and for the pose in one picture, and prints what it says as JSON.
// node client.js ADDRESS PICTURE BOX PROTO_FOLDER... (BOX: x,y,width,height)
"use strict";

const fs = require("fs");
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, picture, box, ...folders] = process.argv.slice(2);

function load(file) {
  const options = { keepCase: true, longs: Number, enums: String, defaults: true, includeDirs: [__dirname, ...folders] };
  return grpc.loadPackageDefinition(loader.loadSync(file, options));
}

function call(client, method, request) {
  const deadline = new Date(Date.now() + 20000);
  return new Promise((resolve, reject) => {
    client[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function main() {
  const open = grpc.credentials.createInsecure();
  const health = new (load("health.proto").grpc.health.v1.Health)(address, open);
  const poses = new (load("poseglass_proto/v1/pose.proto").poseglass.v1.PoseService)(address, open);
  const tensors = new (load("poseglass_proto/oip/inference.proto").inference.GRPCInferenceService)(address, open);

  const [x, y, width, height] = box.split(",").map(Number);
  const image = { encoded: fs.readFileSync(path.resolve(picture)) };
  const said = {
    health: await call(health, "Check", { service: "poseglass.v1.PoseService" }),
    ready: await call(tensors, "ServerReady", {}),
    predict: await call(poses, "Predict", { request_id: "node-1", image, boxes: [{ x, y, width, height }] }),
  };
  await call(poses, "Predict", { image, model: "horses" }).catch((error) => {
    said.refusal = { code: error.code, details: error.details };
  });
  console.log(JSON.stringify(said));
  for (const client of [health, poses, tensors]) client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
